"""That somebody hears of it when a run ends badly: a Django signal and a webhook, out of an outbox."""
