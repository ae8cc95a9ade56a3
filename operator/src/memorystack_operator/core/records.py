"""One line of history out of a stage that ended. Knows the stage; nothing of what comes next."""

from __future__ import annotations

from collections.abc import Sequence

from memorystack_operator.api.spec import Spec
from memorystack_operator.api.status import ArmCounts, ProofResult, ProvingResult, RolloutRecord, SwitchbackResult
from memorystack_operator.core.latency import quantile_ms, total_of
from memorystack_operator.core.limits import limits_of, switchback_level
from memorystack_operator.core.reverse import compare
from memorystack_operator.core.situation import Outcome, Situation
from memorystack_operator.core.state import RolloutStatus
from memorystack_runtime.contract import EvidenceReport, Operation

__all__ = ["counts_of", "in_short", "proving_of", "record_of", "trial_of"]


def record_of(situation: Situation, outcome: Outcome, ended: str) -> RolloutRecord:
    """`ended` is one of RolloutRecord's outcomes."""
    rollout = situation.rollout
    return RolloutRecord.model_validate(
        {
            "id": rollout.id,
            "stage": rollout.stage,
            "outcome": ended,
            "reason": outcome.reason,
            "message": outcome.message,
            "value": rollout.value,
            "changed_at": rollout.changed_at,
            "started_at": rollout.started_at,
            "flipped_at": rollout.flipped_at,
            "first_canary_request_at": rollout.first_canary_request_at,
            "ended_at": situation.now,
            "judged": counts_of(rollout, situation.spec, [p.evidence for p in situation.canary]),
            "withdrawals": rollout.withdrawals,
            "switchback": trial_of(rollout, situation.spec),
            "reverse": rollout.reverse is not None,
            "proving": proving_of(rollout, situation.spec, decided=outcome.paired),
            "worse_than_stable": outcome.worse_than_stable,
        }
    )


def in_short(record: RolloutRecord) -> RolloutRecord:
    """Of a flag that was tried again since: what happened and the counts, without the evidence question by question."""
    judged = {name: counts.model_copy(update={"log_e": {}, "needed": {}}) for name, counts in record.judged.items()}
    proving = record.proving and record.proving.model_copy(update={"operations": {}})
    return record.model_copy(update={"judged": judged, "proving": proving})


def trial_of(rollout: RolloutStatus, spec: Spec) -> SwitchbackResult | None:
    """What the pairs of the last trial have shown, in a switchback or beside a proof; None: the flag was never tried."""
    found = rollout.last_trial
    if found is None:
        return None
    trial, discarded = found
    finding = trial.finding(switchback_level(spec, trial.number))
    return SwitchbackResult(
        number=trial.number,
        operation=trial.operation,
        worse=trial.worse,
        better=trial.better,
        tied=trial.tied,
        discarded=discarded,
        log_e=round(finding.log_e, 4),
        needed=round(finding.needed, 4),
    )


def proving_of(rollout: RolloutStatus, spec: Spec, *, decided: bool = False) -> ProvingResult | None:
    """How far the last step that pairs were played in is proved; None: no pair was played."""
    test = rollout.proving
    if test is None:
        return None
    beta = limits_of(spec)[1]
    operations = {}
    for name, proof in test.proofs.items():
        finding = proof.finding(rollout.evidence[name].findings(1, beta).within.log_e, beta)
        operations[name] = ProofResult(
            limit=proof.room.limit,
            hours=proof.room.hours,
            room=round(proof.room.ratio, 4),
            own_log_e=round(proof.own_log_e, 4),
            shared_log_e=round(proof.shared_log_e, 4),
            log_e=round(finding.log_e, 4),
            needed=round(finding.needed, 4),
        )
    return ProvingResult(
        decided=decided, step=test.number + 1, pairs=test.pairs, discarded=test.discarded, operations=operations
    )


def counts_of(rollout: RolloutStatus, spec: Spec, canary: Sequence[EvidenceReport | None] = ()) -> dict[str, ArmCounts]:
    """What each operation's arms served so far, and the evidence in it; `canary` reports give its p95."""
    return {name: _counts(rollout, spec, name, canary) for name in rollout.evidence}


def _counts(rollout: RolloutStatus, spec: Spec, name: Operation, canary: Sequence[EvidenceReport | None]) -> ArmCounts:
    evidence = rollout.evidence[name]
    findings = evidence.findings(*limits_of(spec))
    about_it = rollout.reverse and rollout.reverse.operation == name and not rollout.failing
    asked = rollout.reverse if about_it else None
    questions = {
        "over": findings.over,
        "worse": findings.worse,
        "within": findings.within,
        "better": findings.better,
        "stableOver": findings.stable_over,
    }
    if asked:  # the mirror has a level of its own, and one question more
        found = compare(asked, evidence, spec)
        questions |= {"better": found.regressed, "same": found.same}
    calibration = rollout.calibration
    prior = next((p for n, p in calibration.operations.items() if n == name), None) if calibration else None
    served = total_of(canary, name, rollout.revision)
    return ArmCounts(
        canary_requests=evidence.canary_requests,
        canary_bad=evidence.canary_bad,
        stable_requests=evidence.stable_requests,
        stable_bad=evidence.stable_bad,
        log_e={q: round(f.log_e, 4) for q, f in questions.items()},
        needed={q: round(f.needed, 4) for q, f in questions.items()},
        phi_rel=evidence.effect.phi_rel,
        phi_abs=evidence.effect.phi_abs,
        over_budget_before=bool(prior and prior.over_budget_before),
        canary_p95_ms=_tenth(quantile_ms(served)),
        share_before=prior.share if prior else 0.0,
    )


def _tenth(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
