"""The output contract: names, schemas, ledger, locks and progress of an output folder."""
