"""The stages as they run beside Kafka: who owns which partition, and when what is sent and committed."""
