"""Adobe Experience Platform and its identity service."""
