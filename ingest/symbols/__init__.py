"""Names for addresses: finds the symbol table that belongs to a module, and looks whole columns up in it."""
