"""What all topologies share, as data: no infrastructure tool's SDK is imported here."""
