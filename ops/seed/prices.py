"""Made-up price levels. No source of ours holds prices: these ranges only look plausible.

US cents for one selling unit, by USDA food group; the catalogue draws from them.
"""

from __future__ import annotations

from typing import Final

PRICE_RANGE_BY_FOOD_GROUP: Final[dict[str, tuple[int, int]]] = {
    "American Indian/Alaska Native Foods": (350, 1800),
    "Baby Foods": (90, 320),
    "Baked Products": (150, 950),
    "Beef Products": (550, 2600),
    "Beverages": (120, 750),
    "Breakfast Cereals": (250, 780),
    "Cereal Grains and Pasta": (120, 640),
    "Dairy and Egg Products": (180, 1250),
    "Fast Foods": (250, 1150),
    "Fats and Oils": (280, 1600),
    "Finfish and Shellfish Products": (600, 2900),
    "Fruits and Fruit Juices": (80, 720),
    "Lamb, Veal, and Game Products": (700, 3200),
    "Legumes and Legume Products": (110, 680),
    "Meals, Entrees, and Side Dishes": (380, 1450),
    "Nut and Seed Products": (260, 1900),
    "Pork Products": (420, 1800),
    "Poultry Products": (380, 1700),
    "Restaurant Foods": (550, 2100),
    "Sausages and Luncheon Meats": (320, 1500),
    "Snacks": (120, 620),
    "Soups, Sauces, and Gravies": (150, 780),
    "Spices and Herbs": (120, 900),
    "Sweets": (90, 850),
    "Vegetables and Vegetable Products": (70, 580),
}
DEFAULT_PRICE_RANGE: Final = (100, 1000)
PRICE_STEP_MINOR: Final = 5
