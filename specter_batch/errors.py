"""The exceptions of specter-batch.

    SpecterBatchError
    ├── ConfigError          a setting, flag or configuration file is wrong
    │   ├── UsageError       the command line itself is wrong; exit code 2
    │   └── BusyError        another job holds the output folder, or did until it was killed; exit code 75
    ├── PaperSchemaError     an input of papers cannot be read as papers
    │   └── WrongFormatError the whole file is not of the format, or has not the columns, that it was said to have
    ├── LabelError           a label is not in the label set, or the set itself is wrong
    ├── LeakError            papers of a test were in the model's training data
    ├── BundleError          a model bundle or run folder is missing, incomplete or of another format
    │   └── FingerprintError its files are not the files it was built with
    ├── ProviderError        the device asked for cannot run the model
    ├── ParityError          an exported graph does not give the labels of its Torch original
    ├── ShardError           a shard could not be read, labelled or written
    ├── GateError            a limit on the work of a night is exceeded before the work starts; exit code 4
    └── StorageError         an object store cannot be reached; also an OSError; exit code 75
        └── StorageRefusedError  it can be reached, and refuses or has no such bucket; exit code 1

A message says what was expected, what was found, where, and what to do next. The command line prints it as one line.
"""

# EX_TEMPFAIL of sysexits.h: nothing is wrong, and the same command may succeed some minutes later.
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
    """Another job holds the output folder in a store, or held it until it was killed moments ago."""

    exit_code = EXIT_TRY_LATER


class PaperSchemaError(SpecterBatchError):
    """An input of papers cannot be read as papers."""


class WrongFormatError(PaperSchemaError):
    """A whole file is not of the format, or not of the columns, that it was said to be."""


class LabelError(SpecterBatchError):
    """A label is not in the label set, or the set itself is wrong."""


class LeakError(SpecterBatchError):
    """Papers of a test were in the model's training data."""


class BundleError(SpecterBatchError):
    """A model bundle or run folder is missing, incomplete or of another format."""


class FingerprintError(BundleError):
    """The files of a bundle are not the files it was built with."""


class ProviderError(SpecterBatchError):
    """The device asked for cannot run the model."""


class ParityError(SpecterBatchError):
    """An exported graph does not give the labels of its Torch original."""


class ShardError(SpecterBatchError):
    """A shard could not be read, labelled or written."""


class GateError(SpecterBatchError):
    """A limit on the work of a night is exceeded before the work starts."""

    exit_code = 4


class StorageError(SpecterBatchError, OSError):
    """An object store cannot be reached; where a disk's error is told and survived, so is this."""

    exit_code = EXIT_TRY_LATER


class StorageRefusedError(StorageError):
    """An object store refuses, or does not have the bucket: a retry would end the same way."""

    exit_code = 1
