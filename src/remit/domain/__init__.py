"""The nouns: money, cards, payments, the ledger, and what one step writes."""
