"""From and to other supervisors' formats."""
