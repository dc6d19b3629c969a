"""Money, cards, payments, refunds, the ledger, and the change that one step writes."""
