"""What every reader of clips must do; a new one is tested by being registered."""

import pytest

from miex.datasets.clips.base import clip_database_facts, clip_database_names, open_clips
from miex.pipeline.fictitious_databases.write import fictitious_names


@pytest.fixture(params=clip_database_names())
def name(request):
    return request.param


def test_it_says_what_it_reads_and_how_it_is_written(name):
    facts = clip_database_facts(name)
    assert facts.about
    assert facts.title
    assert facts.written.partition(":")[0] == name


def test_it_refuses_what_it_does_not_know(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name}: unknown option 'colour'"):
        open_clips(f"{name}:{tmp_path}?colour=red")


def test_it_asks_for_a_path_that_is_there(name, tmp_path):
    _, _, options = clip_database_facts(name).written.partition("?")
    if clip_database_facts(name).written == name:
        assert open_clips(name).clips()
        return
    with pytest.raises(ValueError, match=f"write {name}:PATH"):
        open_clips(f"{name}?{options}" if options else name)
    with pytest.raises(FileNotFoundError, match="nothing at"):
        open_clips(f"{name}:{tmp_path}/nowhere" + (f"?{options}" if options else ""))


def test_every_clip_is_counted_and_the_order_is_stable(name, tmp_path, request):
    """On a fictitious database where there is one, else on the toy of the reader."""
    facts = clip_database_facts(name)
    if name in fictitious_names():
        spec = request.getfixturevalue("fictitious")(name).spec
    elif facts.toy:
        spec = f"{name}:{facts.toy(tmp_path)}"
    elif facts.written == name:
        spec = name
    else:
        pytest.skip(f"{name} has neither a fictitious database nor a toy")
    reader = open_clips(spec)
    clips, report = reader.clips(), reader.report()
    assert clips
    assert reader.licence
    assert len({clip.key for clip in clips}) == len(clips) == report.clips
    assert report.listed == len(clips) + len(report.rejections)
    assert [clip.key for clip in open_clips(spec).clips()] == [clip.key for clip in clips]
    assert all(clip.onset <= clip.offset for clip in clips)
    assert all(clip.emotion_text for clip in clips)
