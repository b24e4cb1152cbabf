"""Learning-rate schedules and optimisers, as pure functions of their configuration and the number of steps."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from flan_jax.config import named_functions
from flan_jax.config.training_settings import FORMS, OptimizerConfig, Schedule
from flan_jax.errors import UserError, counted
from flan_jax.training import parameter_groups as groups
from flan_jax.training.muon import muon_direction
from flan_jax.training.parameter_names import decay_mask, layer_counts


def learning_rate_schedule(config: OptimizerConfig, total_steps: int) -> Schedule:
    """The learning rate of each step, counted from 0.

    It depends on nothing but its arguments: a run resumed with the same `total_steps` goes on along the same curve,
    and one that is lengthened takes the longer run's curve from there.

    Args:
      config: see `OptimizerConfig`.
      total_steps: the run's steps.

    Returns:
      A function of the step, traceable by JAX.

    Raises:
      UserError: settings that make no schedule.

    >>> rate = learning_rate_schedule(OptimizerConfig(learning_rate=1.0, schedule="linear", warmup_steps=2), 12)
    >>> [round(float(rate(step)), 2) for step in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    if not isinstance(config.learning_rate, jax.Array):  # one that is traced was checked as a number
        config.check()
    if callable(config.schedule):
        return _own_schedule(config.schedule, config.learning_rate, total_steps)
    peak, warmup = config.learning_rate, config.warmup_steps

    def rate(step: Any) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        rising = jnp.minimum(1.0, (step + 1) / max(warmup, 1))
        done = jnp.clip((step - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
        if config.schedule == "linear":
            falling = 1 - (1 - config.final_fraction) * done
        elif config.schedule == "cosine":
            falling = config.final_fraction + (1 - config.final_fraction) * 0.5 * (1 + jnp.cos(jnp.pi * done))
        elif config.schedule == "wsd":
            last = config.decay_fraction * total_steps
            gone = jnp.clip((step - (total_steps - last)) / last, 0.0, 1.0)
            left = 1 - (jnp.sqrt(gone) if config.decay == "1-sqrt" else gone)
            falling = config.final_fraction + (1 - config.final_fraction) * left
        elif config.schedule == "rsqrt":
            falling = jnp.sqrt(max(warmup, 1) / jnp.maximum(step + 1, max(warmup, 1)))
        else:
            falling = jnp.ones_like(step)
        return peak * rising * falling

    return rate


def _own_schedule(function: Callable[..., Any], learning_rate: float, total_steps: int) -> Schedule:
    """A schedule of the user's, tried once as the step will call it."""
    setting, form = "Optimizer.schedule", FORMS["Optimizer.schedule"]
    made = named_functions.call(setting, function, form, learning_rate, total_steps)
    name = f"{setting} is {named_functions.shown(function)}"
    if not callable(made):
        raise UserError(f"{name}, which gave {made!r}, wanted a function of the step: it is called as {form}")
    try:
        found = jax.eval_shape(made, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception as error:
        raise UserError(
            f"{name}, and the function of the step that it gave failed with {named_functions.failure(error)}; the step "
            f"is an int32 of JAX, so write it with jax.numpy"
        ) from error
    if getattr(found, "shape", None) != ():
        raise UserError(f"{name}, and the function of the step that it gave returns {found}, wanted a single number")
    return made


def describe_schedule(config: OptimizerConfig, total_steps: int) -> str:
    """The learning rate's course in one line, for logs and for a resume with another number of steps.

    >>> describe_schedule(OptimizerConfig(learning_rate=3e-3, schedule="cosine", warmup_steps=100), 2200)
    'cosine from 0.003 (after 100 warm-up steps) to 0.0003 at step 2200'
    """
    rate = learning_rate_schedule(config, total_steps)
    if callable(config.schedule):
        name = named_functions.shown(config.schedule).rpartition(".")[2]
        values = ", ".join(f"{float(rate(step)):.3g} at step {step}" for step in (0, total_steps // 2, total_steps))
        return f"{name}: {values}"
    peak = f"{config.learning_rate:.3g}"
    if config.warmup_steps >= total_steps:
        top = float(rate(total_steps - 1))
        return f"{config.schedule}, but all {total_steps} steps are warm-up ({config.warmup_steps}): up to {top:.3g}"
    warm = f" (after {config.warmup_steps} warm-up steps)" if config.warmup_steps else ""
    if config.schedule == "constant":
        return f"constant {peak}{warm}, {counted(total_steps, 'step')}"
    end = f"to {float(rate(total_steps)):.3g} at step {total_steps}"
    if config.schedule == "wsd":
        begin = total_steps - config.decay_fraction * total_steps
        return f"wsd: {peak}{warm} up to step {begin:.0f}, then by {config.decay!r} {end}"
    return f"{config.schedule} from {peak}{warm} {end}"


def make_optimizer(config: OptimizerConfig, total_steps: int, params: Any) -> optax.GradientTransformationExtraArgs:
    """Builds the optimiser: clip by global norm, then the update rule with decay and schedule.

    Args:
      config: see `OptimizerConfig`.
      total_steps: the run's steps, for the schedule.
      params: the parameters or their shapes (an `nnx.State` of `nnx.Param`); read for names and for which leaves are
        stacked over layers.

    Returns:
      A transformation whose statistics are float32 whatever the parameters are. Its `update` takes `finite`, a bool
      scalar, true by default: where it is false the statistics stay as they are, and the updates mean nothing. Only
      the learning rate's step goes on, as it is a function of the run's step.

    Raises:
      UserError: settings that make no optimiser.
    """
    stages = [] if config.clip_norm is None else [_clip_by_global_norm(config.clip_norm)]
    if not config.groups:
        return _rule(config, total_steps, params, stages)
    rules = {groups.REST: _rule(config, total_steps, params)}
    for number, (pattern, group) in enumerate(config.groups.items()):
        rule = optax.set_to_zero() if group.get("frozen") else _rule(config.of_group(pattern), total_steps, params)
        rules[groups.label_of(number)] = rule
    return optax.chain(*stages, optax.partition(rules, groups.labels(config, params)))


def _rule(
    config: OptimizerConfig, total_steps: int, params: Any, before: Sequence[optax.GradientTransformation] = ()
) -> optax.GradientTransformationExtraArgs:
    """One rule with its decay and schedule, after the stages `before`; `params` are those of the whole model."""
    schedule = learning_rate_schedule(config, total_steps)
    if config.factory is not None:
        form = FORMS["Optimizer.factory"]
        made = named_functions.call("Optimizer.factory", config.factory, form, learning_rate=schedule)
        if not (callable(getattr(made, "init", None)) and callable(getattr(made, "update", None))):
            raise UserError(
                f"Optimizer.factory is {named_functions.shown(config.factory)}, which gave {made!r}, wanted an "
                f"optax.GradientTransformation: it is called as {form}"
            )
        return optax.chain(*before, _still_unless_finite(made))
    stages = [*before, _direction(config, params)]
    if config.weight_decay:
        # Asked of the leaves at hand: a group's rule sees those of the group alone.
        stages.append(optax.add_decayed_weights(config.weight_decay, mask=decay_mask))
    stages.append(optax.scale_by_learning_rate(schedule))
    return _in_float32(optax.chain(*stages))


def _direction(config: OptimizerConfig, params: Any) -> optax.GradientTransformation:
    """Where a rule goes, without its decay and learning rate."""
    adam = _adam_direction(config.b1, config.b2, config.eps)
    if config.name == "adamw":
        return adam
    if config.name == "muon":
        return muon_direction(params, _still_unless_finite, adam)
    if config.name == "adafactor":
        return _still_unless_finite(_per_layer(_adafactor_direction(), layer_counts(params)))
    if config.name == "lion":
        return _still_unless_finite(optax.scale_by_lion(config.b1, config.b2, mu_dtype=jnp.float32))
    return _still_unless_finite(optax.trace(config.b1)) if config.b1 else optax.identity()


def _clip_by_global_norm(largest: float) -> optax.GradientTransformation:
    """optax's, with one factor for all leaves: its choice between two arrays is written out for every leaf on CPU."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factor = jnp.minimum(1.0, largest / optax.global_norm(updates))
        return jax.tree.map(lambda g: (g * factor).astype(g.dtype), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _still_unless_finite(rule: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Keeps a rule's statistics as they are where `finite` is false, but for the steps that schedules count."""
    rule = optax.with_extra_args_support(rule)

    def update(updates: Any, state: Any, params: Any = None, *, finite: Any = True, **more: Any) -> tuple[Any, Any]:
        def kept(new: Any, old: Any) -> Any:
            if isinstance(new, optax.ScaleByScheduleState):
                return new
            return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)

        updates, after = rule.update(updates, state, params, **more)
        return updates, jax.tree.map(kept, after, state, is_leaf=lambda s: isinstance(s, optax.ScaleByScheduleState))

    return optax.GradientTransformationExtraArgs(rule.init, update)


def _adam_direction(b1: float, b2: float, eps: float) -> optax.GradientTransformationExtraArgs:
    """optax's `scale_by_adam`, whose moments stand still where `finite` is false.

    The direction is computed of the moments as they are kept: each is written once, in its own place. Of moments that
    are chosen afterwards, as `_still_unless_finite` does, XLA would keep a copy of the old ones beside the new.
    """

    def update(grads: Any, state: Any, params: Any = None, *, finite: Any = True, **_: Any) -> tuple[Any, Any]:
        keep = functools.partial(jax.tree.map, lambda new, old: jnp.where(finite, new, old))
        count = optax.safe_increment(state.count)
        mu = keep(optax.tree.update_moment(grads, state.mu, b1, 1), state.mu)
        nu = keep(optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2), state.nu)
        mean, square = optax.tree.bias_correction(mu, b1, count), optax.tree.bias_correction(nu, b2, count)
        direction = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mean, square)
        return direction, optax.ScaleByAdamState(keep(count, state.count), mu, nu)

    init = optax.scale_by_adam(mu_dtype=jnp.float32).init
    return optax.GradientTransformationExtraArgs(init, update)


def _adafactor_direction() -> optax.GradientTransformation:
    """Adafactor's update without its learning rate: factored second moment, clipped, scaled by the parameter's size."""
    return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms())


def _per_layer(rule: optax.GradientTransformation, layers: Any) -> optax.GradientTransformation:
    """Applies a rule with statistics over whole leaves to each layer of a stacked leaf by itself.

    Without it clipping and scaling by size would run over all layers at once.
    """
    mapped = optax.GradientTransformation(
        jax.vmap(rule.init), lambda updates, state, params=None: jax.vmap(rule.update)(updates, state, params)
    )
    counts = sorted(set(jax.tree.leaves(layers)))
    labels = jax.tree.map(lambda count: f"layers_{count}" if count else "single", layers)
    return optax.partition(
        {f"layers_{count}" if count else "single": mapped if count else rule for count in counts}, labels
    )


def _in_float32(rule: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """Keeps a rule's statistics in float32 for narrower parameters: a bfloat16 moment of b2 = 0.999 stands still."""
    cast = functools.partial(
        jax.tree.map, lambda x: x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x
    )

    def init(params: Any) -> Any:
        return rule.init(cast(params))

    def update(updates: Any, state: Any, params: Any = None, **more: Any) -> tuple[Any, Any]:
        return rule.update(cast(updates), state, None if params is None else cast(params), **more)

    return optax.GradientTransformationExtraArgs(init, update)
