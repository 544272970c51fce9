"""Every error this project raises on purpose.

    OracleError                    the message can be shown to a person as it is
    ├── SettingsError              a setting is missing or wrong; names the variable
    ├── LibraryError               the papers folder or its index cannot be used
    │   ├── WriterLocked           another process is writing this index
    │   ├── IndexDamaged           the stored index is incomplete or unreadable
    │   └── UnreadableDocument     one file cannot be read; carries its FileStatus
    ├── StorageUnavailable         the application's database cannot be read or written
    ├── ModelUnavailable           a model cannot do its job (weights missing, server down)
    ├── EngineUnavailable          an engine could not look for an answer
    │   ├── CircuitOpen            the engine is resting after failures and was not asked
    │   └── BudgetExhausted        asking it could cost more than may still be spent
    ├── TranslationUnavailable     nobody can translate at the moment
    ├── NotAssessed                an answer's quality cannot be told
    ├── FlagMalformed              a feature flag is written wrongly
    ├── FlagChanged                a feature flag is not as whoever changes it believes it to be
    └── QuestionTooLong            a question is longer than can be searched for

Adapters turn foreign errors into these at their edge, with `from error`. Messages name the thing and
say what to do next. Those that reach people in the chat are a cmo.phrases.Phrase: whoever shows one takes the
error's `words`, which can be said in other languages. str(error) is English.
"""

from cmo.values import FileStatus


class OracleError(Exception):
    """The root; its message can be shown to a person."""

    @property
    def words(self) -> str:
        """The message as it was given: a Phrase, where it is one."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)


class SettingsError(OracleError):
    """A setting is missing or wrong. The message names the variable, its value and what is allowed."""


class LibraryError(OracleError):
    """The papers folder or its index cannot be used."""


class WriterLocked(LibraryError):
    """Another process holds the writer lock of this index. The message says which."""


class IndexDamaged(LibraryError):
    """The stored index is incomplete or unreadable and has to be repaired or rebuilt."""


class UnreadableDocument(LibraryError):
    """One file cannot be read.

    `status` is the outcome recorded for the file; the message is the reason shown beside it.
    """

    def __init__(self, status: FileStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class StorageUnavailable(OracleError):
    """The application's database cannot be read or written."""


class ModelUnavailable(OracleError):
    """A model cannot do its job: weights missing or damaged, or its server does not answer."""


class EngineUnavailable(OracleError):
    """An engine could not look for an answer at all."""


class CircuitOpen(EngineUnavailable):
    """The engine is resting after failures and was not asked. `retry_after_seconds` is when it is tried again."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BudgetExhausted(EngineUnavailable):
    """Asking could cost more than may still be spent. The message names the limit and when it starts anew."""


class TranslationUnavailable(OracleError):
    """No translation service can be reached, or none knows the language. The message says which."""


class NotAssessed(OracleError):
    """An answer's quality cannot be told; the message says why."""


class FlagMalformed(OracleError):
    """A feature flag is written wrongly. The message says where, and what is allowed."""


class FlagChanged(OracleError):
    """A feature flag is not at the version that whoever changes it has seen. The message names the present one."""


class QuestionTooLong(OracleError):
    """A question is longer than can be searched for; the message says how long it may be."""
