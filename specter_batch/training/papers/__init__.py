"""Labelled papers for training and evaluation."""
