"""The protocols, as data: how the network and the head are trained and tested, field by field, each with its source.

``paper.yaml`` is complete; ``paper-val.yaml`` and ``reference.yaml`` (the published code: microa/MoCLIP-Lite, commit
4eb23fb) name only what differs from it. A profile names its protocol and may shorten it; ``-p protocol=NAME`` takes
another. What a protocol ``insists`` on, no profile shortens.

Not imitated, since these are faults and no choices:

- A segment that cannot be read becomes zeros of 8 bit there: the strongest motion to the left and up, where 128 is no
  motion. Here it is an error, or with ``data.on_error: skip`` a clip that is left out and counted. A test index one
  beyond the clip (`moclip.sampling.reference_centres`) becomes the clip's last frame.
- A missing appearance feature becomes zeros there. Here it is an error.
- Labels come from the sorted folder names in one half of it and from the list files in the other: HammerThrow and
  Hammering, JumpingJack and JumpRope change places between them. Here all systems have the class file's order.
- Its random frame, crops and flips follow from no seed. Here everything random does.
"""
