"""PID 1 of the nginx container: starts, tests, reloads and revives nginx for the agent.

Standard library only and no asyncio, to stay near 12 MB: a ``selectors`` loop (``loop``) drives one
activity at a time, a generator that yields how long it is willing to wait (``supervisor``).
"""
