"""AWS on this machine, with a database where a topology has one; for trying out and for tests."""
