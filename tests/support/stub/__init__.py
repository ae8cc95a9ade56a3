"""A pod that speaks the runtime's contract and does nothing else: for tests of timing and of faults.

Flags, leases, budgets and counting are the runtime's own code (`FlagBoard`, `Ledger`); only the memory service behind them is
replaced by a wait. `behaviour` says what it does under which flags, `history` what it claims to have served before.
"""

from support.stub.behaviour import Behaviour, Burst, Rule

__all__ = ["Behaviour", "Burst", "Rule"]
