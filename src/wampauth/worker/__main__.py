"""Print what PYTHONPATH must begin with where a node is started by other means: ``python -m wampauth.worker``."""

from wampauth.worker import FOLDER

print(FOLDER)
