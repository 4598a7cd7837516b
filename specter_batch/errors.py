"""The exceptions of specter-batch.

    SpecterBatchError
    ├── ConfigError          a setting, flag or configuration file is wrong
    │   ├── UsageError       the command line itself is wrong; exit code 2
    │   └── BusyError        another job uses the output folder, or was killed moments ago; exit code 75
    ├── PaperSchemaError     an input of papers cannot be read as papers
    │   └── WrongFormatError the whole file has another format, or other columns, than expected
    ├── LabelError           a label is not in the label set, or the set itself is wrong
    ├── LeakError            papers of a test were in the model's training data
    ├── BundleError          a model bundle or run folder is missing, incomplete or of another format
    │   └── FingerprintError a file of the bundle was changed after the export
    ├── ProviderError        the device asked for cannot run the model
    ├── ParityError          an exported graph gives other labels than the Torch model
    ├── ShardError           a shard could not be read, labelled or written
    ├── GateError            a gate fails; exit code 4
    └── StorageError         an object store cannot be reached; also an OSError; exit code 75
        └── StorageRefusedError  the store denies access, or the bucket does not exist; exit code 1

A message says what was expected, what was found, where, and what to do next. The command line prints it as one line.
"""

# EX_TEMPFAIL of sysexits.h: a temporary failure. The same command may succeed some minutes later.
EXIT_TRY_LATER = 75


class SpecterBatchError(Exception):
    """Base of every error that a user can act on.

    Attributes:
        exit_code: The exit code of a command that ends with this error.
    """

    exit_code = 1


class ConfigError(SpecterBatchError):
    """A setting, flag or configuration file is wrong."""


class UsageError(ConfigError):
    """The command line itself is wrong: an argument is missing, or its value cannot be used."""

    exit_code = 2


class BusyError(ConfigError):
    """Another job uses the output folder, or it was killed moments ago and its lock in the store is not yet expired."""

    exit_code = EXIT_TRY_LATER


class PaperSchemaError(SpecterBatchError):
    """An input of papers cannot be read as papers."""


class WrongFormatError(PaperSchemaError):
    """A whole file has another format, or other columns, than expected."""


class LabelError(SpecterBatchError):
    """A label is not in the label set, or the set itself is wrong."""


class LeakError(SpecterBatchError):
    """Papers of a test were in the model's training data."""


class BundleError(SpecterBatchError):
    """A model bundle or run folder is missing, incomplete or of another format."""


class FingerprintError(BundleError):
    """A file of a bundle was changed after the export."""


class ProviderError(SpecterBatchError):
    """The device asked for cannot run the model."""


class ParityError(SpecterBatchError):
    """An exported graph gives other labels than the Torch model that it was made from."""


class ShardError(SpecterBatchError):
    """A shard could not be read, labelled or written."""


class GateError(SpecterBatchError):
    """A gate fails: a limit that the user has set is not kept."""

    exit_code = 4


class StorageError(SpecterBatchError, OSError):
    """An object store cannot be reached. It is an OSError too, so code that handles disk errors handles it."""

    exit_code = EXIT_TRY_LATER


class StorageRefusedError(StorageError):
    """An object store denies access, or the bucket does not exist: a retry would fail too."""

    exit_code = 1
