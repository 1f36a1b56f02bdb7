"""Studies beyond the paper's method, one folder per notebook. Each may be deleted; the core imports none."""
