"""One file a task; a file's name is the task's name. A task file imports no torch when it is imported."""
