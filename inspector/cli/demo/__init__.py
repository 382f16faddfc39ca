"""`inspector demo`: good parts, calibration, the whole daemon over parts whose class is known, figures."""
