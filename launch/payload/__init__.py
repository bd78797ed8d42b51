"""All that is sent to a machine. Who reviews security reads this room.

container        what a machine starts: image, command, environment
bootstrap        makes a worker of a third-party image; its text travels alone
loader           fetches what a machine starts, by its digest; its text travels alone
by_link          leaves that in the store, behind a signed link
shell_end        ends a machine whose image cannot run Python
cloud_init       the same for a virtual machine, as user data
wheel            Mimir itself as a wheel
code_in_store    that wheel in the store, by digest
credentials      keys for one attempt, made by STS
session_policy   what those keys may do
run_folders      what a container sees of this computer's folders
registry_login   a login for the registry of a private image
key_link         the credential hand-off: a signed link that is deleted on use
"""
