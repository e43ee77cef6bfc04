"""Strings only: normalising, tokenising, detecting. Knows no ids and no nets."""
