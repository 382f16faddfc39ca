"""How each kind of detector is calibrated, behind one small protocol."""
