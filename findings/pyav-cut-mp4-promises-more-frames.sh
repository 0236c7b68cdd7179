#!/usr/bin/env bash
# Versions: av 18.1.0, Python 3.11.
#
# Expected: `stream.frames` of an MP4 is the number of frames, give or take one.
# What happens: a cut without re-encoding keeps all packets from the key frame on, and an edit list says from where to
# show. The header counts 60, the demuxer gives 30 packets, 9 of them to be discarded, and 21 frames are decoded.
# Why it matters: phones and cutters make such files daily; code that numbers frames by packets, makes an array of
# `stream.frames` masks, or takes a shortfall for a damaged file is wrong on valid input.
# Instead: count decoded frames; leave out packets with `is_discard` where only stamps are read.
#
# Seen:
#   stream.frames 60, packets 30 (of them to discard: 9), frames shown 21
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    av==18.1.0 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import av
import numpy as np

with av.open("whole.mp4", "w") as file:
    track = file.add_stream("libx264", rate=30, options={"g": "30", "bf": "2", "preset": "veryfast"})
    track.width, track.height, track.pix_fmt = 64, 64, "yuv420p"
    for number in range(60):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number * 4, np.uint8), format="rgb24")
        frame.pts = number
        file.mux(track.encode(frame))
    file.mux(track.encode(None))

with av.open("whole.mp4") as whole, av.open("cut.mp4", "w") as cut:  # no re-encoding, as lossless cutters do
    source = whole.streams.video[0]
    track = cut.add_stream_from_template(source)
    begin = int(1.3 / source.time_base)
    for packet in whole.demux(source):
        if packet.dts is not None:
            packet.pts, packet.dts, packet.stream = packet.pts - begin, packet.dts - begin, track
            cut.mux(packet)

with av.open("cut.mp4") as file:
    promised = file.streams.video[0].frames
    packets = [packet for packet in file.demux(video=0) if packet.size]
with av.open("cut.mp4") as file:
    shown = sum(1 for _ in file.decode(video=0))
hidden = sum(packet.is_discard for packet in packets)
print("stream.frames %d, packets %d (of them to discard: %d), frames shown %d" % (promised, len(packets), hidden, shown))
assert promised == 60 and shown == 21 and len(packets) - hidden == shown, (promised, len(packets), hidden, shown)
PY
