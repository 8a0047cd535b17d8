"""Products, categories and farms: cached reads, ordered writes, and the voiding between them."""
