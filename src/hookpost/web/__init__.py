"""HTTP faces: parse the request, call one service, render its answer."""
