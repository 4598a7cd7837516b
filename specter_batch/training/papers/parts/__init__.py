"""Splitting one labelled input into papers to train on, to validate on and to test on."""
