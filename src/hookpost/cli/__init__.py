"""The command line: one file a group of commands. Exit codes are those of `exits`."""
