"""From resolved tasks to the batches of a step: resolve, prepare, store, plan, pack, load."""
