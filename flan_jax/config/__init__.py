"""Run configuration: how flags, macros and gin files become one `RunConfig`, and how it is checked.

In the order in which a setting comes by; `resolving` leads it from the third to the last:

- `macros`: how settings are named.
- `command_line`, `command_options`: flags are parsed, and those of one subcommand checked.
- `binding` (its first half), `gin_files`, `gin_statements`: gin text is read into statements.
- `plain_flags`, `starting_point`: statements for what flags say, over and beneath those, and the run or model that they
  change.
- `gin_names`, `gin_calls`: names are checked, functions found, and what would be called is set apart.
- `binding` (its second half): statements are bound.
- `run_config`, `training_settings`, `named_functions`: the values as dataclasses.
- `checks`: what is wrong with them.
- `kept`: how a run's folder keeps them.
"""
