"""The contract between laptop and machine: store, HEAD, commit, run record, status.

    store, file_store, s3_store   bytes under keys, with create-if-absent and compare-and-swap
    content                       what is to be stored, of any size, block by block
    file_folder, file_names, file_versions, file_errors   parts of file_store: folders opened
                                  without following links, exclusive names, versions made of them
    s3_url, s3_address, s3_client, s3_credentials   how s3_store reaches its bucket
    s3_content, s3_answers        what s3_store sends, and what of an answer counts
    s3_errors                     what a server refuses, in the words of mimir.errors
    s3_failures                   what else goes wrong: AWS configuration, keys, network
    s3_clock                      the time on a server, as its answers tell it
    probe, race                   does this store really refuse what it must, also to several?
    layout                        what lies where under <store>/<run>/
    codec, ranges                 JSON as one encoding; bounded, typed documents with a format
    record                        run.json: the frozen job
    about                         about.json: labels and notes that people gave a run
    origin                        from which other run a run begins
    sweep, sweep_state            the list of a sweep's runs; whether more of them are to be begun
    head, begin, commit           HEAD, the one mutable object, and the only ways to change it:
                                  from outside, and by who holds an attempt
    tombstone, remove             what stays of a removed run, and its removal
    retention                     which checkpoints are kept
    collect                       deletes what an abandoned attempt left behind
    cards                         which of a computer's GPUs trains
    hosts                         whose machines a plan takes
    order                         order.json: an attempt's plan, limits, offer and deadline
    promised                      what an offer promised of its machine, for its worker to check
    orders                        what all orders say of HEAD: may it be believed?
    final                         final.json: what a run left, sealed when it was first seen done
    replays                       replay.json: whether the last steps came out alike again
    owner                         the store's id, which its rented machines bear in their names
    machine                       machine.json: what the attempt runs on, its region and price
    started                       that a job which waited has begun an attempt
    notice                        how long before its end a spot machine is told, and what fits
    notes, parts                  what a run tells about itself while it runs
    joined                        the parts of an attempt that is over, as one object
    attempts, status              what the store says of its attempts, and of the run
    telemetry                     what a machine's GPU, memory and disk did, and its warnings
    alerts                        what happened to a run, as events with levels
    listing                       all runs of a store, in few requests each
    newest                        newest_runs.json: those that were created last
    execution                     how an attempt executes its steps, and why no faster way
    figures                       the held-out figures: what each is called where it is shown
    stopping                      how a training ended, and what more would have cost

Nothing here imports torch, a provider or the launcher.
"""
