"""Prices: integer minor units inside, decimal strings outside, ISO 4217 exponents between.

An amount that the currency cannot express exactly is refused, never rounded.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CURRENCIES", "exponent_of", "format_price", "is_currency", "parse_price"]

MAX_MINOR: Final = 10**15
_DECIMAL: Final = re.compile(r"(\d{1,15})(?:\.(\d{1,6}))?", re.ASCII)

# ISO 4217, active codes by number of decimals; those of commodities and tests are left out.
_EXPONENTS: Final[dict[str, int]] = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys(
        """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD
        CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
        GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD
        LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB
        PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC
        SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW
        ZWG""".split(),
        2,
    ),
}

CURRENCIES: Final = tuple(sorted(_EXPONENTS))


def is_currency(code: str) -> bool:
    """Whether ``code`` is an active ISO 4217 currency."""
    return code in _EXPONENTS


def exponent_of(currency: str) -> int:
    """Decimals of a currency; ``KeyError`` for one that ``is_currency`` denies."""
    return _EXPONENTS[currency]


def parse_price(text: str, currency: str) -> int | None:
    """Minor units, or ``None`` when the text is no amount this currency can express exactly."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    exponent = exponent_of(currency)
    whole, fraction = match.group(1), match.group(2) or ""
    if fraction[exponent:].strip("0"):
        return None
    minor = int(whole + fraction[:exponent].ljust(exponent, "0"))
    return minor if minor <= MAX_MINOR else None


def format_price(minor: int, currency: str) -> str:
    """The decimal string with exactly the currency's decimals."""
    exponent = exponent_of(currency)
    if exponent == 0:
        return str(minor)
    digits = str(minor).zfill(exponent + 1)
    return f"{digits[:-exponent]}.{digits[-exponent:]}"
