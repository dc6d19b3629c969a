"""`remit deploy`, `destroy` and `outputs`: one module for each topology, and the tools they use."""
