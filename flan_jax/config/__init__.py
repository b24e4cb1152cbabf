"""Run configuration: flags, macros, gin files and names; how they become one `RunConfig`, and how it is checked."""
