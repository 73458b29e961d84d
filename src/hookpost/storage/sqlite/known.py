"""What is known in memory of endpoints and sources: as last committed, and never behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hookpost.core.errors import NotFound
from hookpost.core.model import EndpointId, EndpointRecord, SourceRecord
from hookpost.storage.sqlite.books import Book, Tally
from hookpost.storage.sqlite.claims import Claims
from hookpost.storage.sqlite.endpoints import Revision


class Known:
    """Endpoints by number and by name, sources by name. Everything runs on the loop.

    `books` are shared with the writer, which reads them while a batch runs.
    """

    def __init__(self, books: dict[int, Book], sources: dict[str, SourceRecord]) -> None:
        self.books = books
        self.sources = sources
        self._names = {book.record.name: book.record.id for book in books.values()}

    def number(self, name: str) -> EndpointId | None:
        """The number of an endpoint, by its present name."""
        return self._names.get(name)

    def endpoint(self, endpoint: EndpointId) -> EndpointRecord:
        """Its record with its counts. NotFound."""
        book = self.books.get(endpoint)
        if book is None:
            raise NotFound(f"endpoint number {endpoint}: is not in the outbox")
        return book.shown()

    def endpoints(self) -> Sequence[EndpointRecord]:
        """All records, of removed endpoints those that still own deliveries."""
        records = [book.shown() for book in self.books.values()]
        return [
            record
            for record in records
            if record.removed_at is None or record.counts.pending or record.counts.dead_letters
        ]

    def named(
        self, names: Iterable[str], revisions: Iterable[Revision]
    ) -> Mapping[str, EndpointRecord]:
        """Records by name; those that the revisions have just made are marked fresh."""
        fresh = {revision.record.id for revision in revisions if revision.record.fresh}
        records = {name: self.books[self._names[name]].shown() for name in names}
        return {
            name: replace(record, fresh=True) if record.id in fresh else record
            for name, record in records.items()
        }

    def counted(self, tally: Tally) -> None:
        """A transaction moved the counters."""
        for endpoint, deltas in tally.endpoints.items():
            if endpoint in self.books:
                self.books[endpoint].count(deltas)
        for name, moved in tally.sources.items():
            self.sources[name] = (self.sources.get(name) or SourceRecord(name)).moved(moved)

    def revised(self, revisions: Sequence[Revision], claims: Claims) -> None:
        """Rows were written: books, names and windows follow."""
        for revision in revisions:
            record = replace(revision.record, fresh=False)
            book = self.books.get(record.id)
            if book is None:
                book = self.books[record.id] = Book(record, revision.max_pending)
                claims.admit(record.id, book)
            else:
                if self._names.get(book.record.name) == record.id:
                    del self._names[book.record.name]
                book.revise(record, revision.max_pending)
                claims.follow(record.id, book)
            self._names[record.name] = record.id
