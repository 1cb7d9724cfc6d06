"""The life of a model bundle: signed, verified, installed, promoted, rolled back."""
