"""Whether a site has a node on which a trial fits, where what it takes depends on its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...fields import format_duration
from ...grammar import count
from ..distributions import word
from ..studyfile import SizeProblem, StudyFile
from ..trial.block_env import yield_margin
from .settings import needs_of, resources_of

if TYPE_CHECKING:
    from ...providers.site import Site


def why_unfit(study_file: StudyFile, site: Site, params: Mapping[str, Any]) -> str:
    """Why no pool of the site can run the trial with these parameters, as one sentence; empty where one can."""
    from ...providers.blocks.resources import fits_no_pool, trials_per_block

    if study_file.sizes is None and study_file.pools is None:
        return ""
    try:
        pools = study_file.pools.of(params) if study_file.pools else ()
        resources = resources_of(study_file.options_for(params), pools)
    except SizeProblem as problem:
        return str(problem)
    if any(
        pool.is_on and trials_per_block(pool, resources) and (not pools or pool.name in pools) for pool in site.pools
    ):
        return ""
    error = fits_no_pool(site, resources, "this trial")
    return f"{error.key}: {error.message}"


def unfit_notes(study_file: StudyFile, site: Site) -> list[str]:
    """A note on configurations whose trials will fail, because what they would take is no size or fits no pool."""
    if study_file.sizes is None:
        return []
    cases = study_file.sizes.cases()
    found = [(case, why) for case in cases if (why := why_unfit(study_file, site, case.params))]
    if not found:
        return []
    case, why = found[0]
    given = ", ".join(f"{name} is {word(value)}" for name, value in case.params.items())
    many = f"{len(found):,} of {count(len(cases), 'configuration')}"
    since = "they fit on no node" if case.problem is None else "what they would take is no size"
    return [f"some trials will fail, since {since}: where {given} ({many}), {why}; constraints exclude them"]


def shape_notes(study_file: StudyFile, site: Site) -> list[str]:
    """A note on each shape of blocks, with its line in the site file, that no trial of the study begins in."""
    from ...providers.blocks.resources import pool_uses, trials_per_block
    from ...providers.blocks.scaling import usable_seconds

    needs, expected = needs_of(study_file), study_file.trial.expected
    found = []
    for pool in (use.pool for use in pool_uses(site, needs) if not use.why_not):
        home = site.home(pool.name)
        name = pool.name.removeprefix(f"{home.name}.") if site.parts else pool.name
        usable = {
            at: usable_seconds(each.walltime, yield_margin(each.walltime, needs.yield_before))
            for at, each in enumerate(pool.by_shape)
            if trials_per_block(each, needs)
        }
        longest = max(usable.values())
        for at in range(len(pool.shapes)):
            why = ""
            if at not in usable:
                why = f"a trial needs {count(needs.nodes, 'node')}"
            elif expected is not None and usable[at] < expected <= longest:
                why = f"a trial is expected to run {format_duration(expected)}"
            if why:
                message = f"no trial of this study begins in such a block: {why}"
                found.append(str(home.error(message, f"pools.{name}.shapes[{at}]")))
    return found
