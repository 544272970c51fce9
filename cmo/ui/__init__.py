"""The chat: what people see and touch. It knows the pipeline and the library by their interfaces only."""
