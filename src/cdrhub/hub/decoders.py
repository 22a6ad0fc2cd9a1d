"""Which decoder reads which record: by the revision of the decode settings under which it came.

A record is decoded with the settings of its own revision for ever, so that a later change of field order or time
zone cannot shift old columns. Settings of every revision seen are kept in the journal and in the database; a
decoder is built from them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
from pydantic import ValidationError

from cdrhub.errors import CdrhubError, ConfigError, DecodeError, Reason, told
from cdrhub.model.checked import checked
from cdrhub.model.inference import decode_inference
from cdrhub.model.record import INFERENCE, RawRecord, Revision
from cdrhub.model.update import Decoded
from cdrhub.os_errors import is_exhausted
from cdrhub.sources.base import Decoder, refuse_partial
from cdrhub.sources.registry import system
from cdrhub.store.batch import Outcome

log = structlog.get_logger(__name__)


class UnknownRevision(CdrhubError):
    """A record came under decode settings that this process has not met yet."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the decode settings {revision!r} are not known")
        self.revision = revision


class DecodingWaits(CdrhubError):
    """A decoder cannot be made at the moment, for the machine lacks something, such as a descriptor; the message says
    what. Neither the record is at fault, nor the database in whose transaction it may be read again."""


class Decoders:
    """The decoders of all revisions that this process has met."""

    def __init__(self) -> None:
        self._revisions: dict[str, Revision] = {}
        self._decoders: dict[str, Decoder] = {}

    def learn(self, revision: Revision) -> None:
        """Know these settings."""
        self._revisions.setdefault(revision.revision, revision)

    def learn_all(self, kept: Iterable[Revision]) -> None:
        """Know all settings that the journal or the database keeps."""
        for revision in kept:
            self.learn(revision)

    def knows(self, revision: str) -> bool:
        """Whether records of this revision can be decoded."""
        return revision in self._revisions

    def give_up(self, revision: str) -> None:
        """Suspend the records of settings that are nowhere to be found, until someone decodes them with the current
        ones (`cdrhub suspense replay`)."""

        def lost(record: RawRecord) -> Decoded:
            raise DecodeError(Reason.BAD_VALUE, f"the decode settings {record.config_revision} are lost")

        self._decoders[revision] = lost

    def revisions(self) -> Mapping[str, Revision]:
        """Every revision known."""
        return self._revisions

    def decode(self, record: RawRecord) -> Outcome:
        """What the record says. A DecodeError is returned, not raised: it is an outcome like any other.

        Raises UnknownRevision, DecodingWaits and MemoryError: a record that takes all memory is found by the deaths it
        causes (journal, poison). Anything else that a decoder raises, SystemExit too, is a bug in it and suspends this
        one record, as does a result that it may not return (model/checked.py).
        """
        try:
            if record.content_type == INFERENCE:
                return decode_inference(record)
            refuse_partial(record)
            decoder = self._decoders.get(record.config_revision) or self._build(record.config_revision)
            return checked(decoder(record), digest=record.digest)
        except DecodeError as error:
            # A stranger's own kind of it may hold other things, or none.
            if isinstance(getattr(error, "reason", None), Reason) and isinstance(getattr(error, "detail", None), str):
                return error
            return self._bug(record, error)
        except (UnknownRevision, MemoryError, KeyboardInterrupt):
            raise
        except BaseException as error:
            if is_exhausted(error):
                raise DecodingWaits(error.strerror) from error
            return self._bug(record, error)

    def _bug(self, record: RawRecord, error: BaseException) -> DecodeError:
        log.error(
            "decoder failed", action="decoder_bug", source=record.source, digest=record.digest.hex(), exc_info=error
        )
        return DecodeError(Reason.DECODER_BUG, f"{type(error).__name__}: {told(error)}")

    def _build(self, revision: str) -> Decoder:
        known = self._revisions.get(revision)
        if known is None:
            raise UnknownRevision(revision)
        try:
            owner = system(known.system)
        except ConfigError as error:
            raise DecodeError(Reason.BAD_VALUE, f"install the package that reads it: {error}") from error
        try:
            settings = owner.config_model.settings_model.model_validate_json(known.settings)
        except ValidationError as error:
            keys = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors(include_input=False)}))
            why = f"the installed {known.system!r} does not take the settings under which it came any more: {keys}"
            raise DecodeError(Reason.BAD_VALUE, why) from error
        decoder = owner.decoder(settings)
        self._decoders[revision] = decoder
        return decoder
