"""The nginx pod's two processes: the agent, and nginx's supervisor (``agent.supervisor``).

Nothing is imported here: the supervisor lives on the standard library alone, and pays for each
import with memory in every nginx pod.
"""
