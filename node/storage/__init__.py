"""What a peer keeps on disk: records, documents and its vote. Damage is set aside and told, never passed over."""
