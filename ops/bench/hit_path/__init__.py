"""Where each microsecond of a hit goes."""
