"""Measurements, side by side in one run. Ratios count; absolute figures belong to the machine."""
