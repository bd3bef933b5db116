"""Low-rank adaptation: 8-bit weights, DyQLoRA-FA for PEFT, and its adapters at any rank as plain LoRA."""
