"""What a corpus is and how one comes in: records, plan, shards, index, store, sources, fetching, the engine protocol."""
