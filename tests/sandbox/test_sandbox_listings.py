"""The catalogue: both listings, both shapes, and the oddities that clients must bear."""

from __future__ import annotations

import pytest

from nanogpt_images.sandbox import SandboxModel, built_in_models, catalog_of, load_models


def by_id(reply, model_id):
    """The entry of one model."""
    return next(entry for entry in reply.json["data"] if entry["id"] == model_id)


async def test_documented_entry_of_images_models(open_api):
    """gpt-image-2 is listed exactly as the documents show it."""
    async with open_api() as api:
        assert by_id(await api.get("/api/v1/images/models"), "gpt-image-2") == {
            "id": "gpt-image-2",
            "name": "GPT Image 2",
            "description": "Model description...",
            "created": 1760000000,
            "owned_by": "openai",
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
            "supported_parameters": {
                "resolution": {"type": "enum", "values": ["1024x1024", "1024x768"], "default": "1024x1024"},
                "n": {"type": "range", "min": 1, "max": 4, "default": 1},
            },
            "supports_streaming": False,
            "endpoints": "/api/v1/images/models/gpt-image-2/endpoints",
            "capabilities": {
                "image_generation": True,
                "image_to_image": True,
                "inpainting": False,
                "nsfw": False,
            },
            "category": "image",
        }


async def test_documented_endpoints(open_api):
    """The endpoint metadata of gpt-image-2 is exactly what the documents show."""
    async with open_api() as api:
        assert (await api.get("/api/v1/images/models/gpt-image-2/endpoints")).json == {
            "id": "gpt-image-2",
            "endpoints": [
                {
                    "provider_name": "OpenAI",
                    "provider_slug": "openai",
                    "provider_tag": None,
                    "supported_parameters": {
                        "resolution": {
                            "type": "enum",
                            "values": ["1024x1024", "1024x768"],
                            "default": "1024x1024",
                        },
                        "n": {"type": "range", "min": 1, "max": 4, "default": 1},
                    },
                    "allowed_passthrough_parameters": [],
                    "supports_streaming": False,
                    "pricing": [
                        {
                            "billable": "output_image",
                            "unit": "image",
                            "cost_usd": 0.06551,
                            "resolution": "1024x1024",
                        }
                    ],
                    "input_reference_constraints": {
                        "max_items": 4,
                        "route": {
                            "min_width": 8,
                            "min_height": 8,
                            "max_bytes": 31457280,
                            "formats": ["png", "jpeg", "webp"],
                            "source": "route-preflight",
                        },
                    },
                }
            ],
        }


async def test_documented_entry_of_image_models(open_api):
    """P-Image is listed exactly as the documents show it."""
    async with open_api() as api:
        assert by_id(await api.get("/api/v1/image-models"), "pruna-ai/p-image/text-to-image") == {
            "id": "pruna-ai/p-image/text-to-image",
            "object": "model",
            "created": 1778544000,
            "owned_by": "prunaai",
            "name": "P-Image",
            "description": "Fast text-to-image generation for low-cost drafts, social visuals, and rapid creative iteration.",
            "architecture": {
                "modality": "text->image",
                "input_modalities": ["text"],
                "output_modalities": ["image"],
            },
            "pricing": {"per_image": {"1024*1024": 0.005, "1376*768": 0.005}, "currency": "USD"},
            "capabilities": {
                "image_generation": True,
                "image_to_image": False,
                "inpainting": False,
                "nsfw": False,
            },
            "supported_parameters": {"resolutions": ["1024x1024", "1376x768", "1184x896"], "max_images": 4},
            "icon_url": "/icons/PrunaAI.svg",
            "tags": ["text-to-image", "prunaai", "wavespeed"],
            "category": "image",
        }


async def test_both_shapes_in_one_listing(open_api):
    """`/images/models` mixes descriptors and flat parameters."""
    async with open_api() as api:
        reply = await api.get("/api/v1/images/models")
        assert by_id(reply, "krea-v2/turbo")["supported_parameters"]["resolution"]["type"] == "enum"
        flat = by_id(reply, "qwen-image-edit")
        assert (flat["object"], flat["supported_parameters"]["max_input_images"]) == ("model", 3)
        constraints = flat["supported_parameters"]["input_image_constraints"]
        assert (constraints["route"]["max_width"], constraints["provider"]["max_width"]) == (16384, 4096)
        assert constraints["provider"]["note"]


async def test_basic_listing(open_api):
    """`detailed=false` leaves the basic identifiers."""
    async with open_api() as api:
        reply = await api.get("/api/v1/image-models?detailed=false")
        assert all(set(entry) == {"id", "object", "created", "owned_by"} for entry in reply.json["data"])


async def test_join_is_not_complete(open_api):
    """Each listing lacks a model that the other has, and the count is not the length."""
    async with open_api() as api:
        old, new = await api.get("/api/v1/image-models"), await api.get("/api/v1/images/models")
        old_ids, new_ids = ({entry["id"] for entry in reply.json["data"]} for reply in (old, new))
        assert old_ids - new_ids == {"only/image-models"}
        assert new_ids - old_ids == {"only/images-models"}
        assert old.json["meta"]["count"] != len(old.json["data"])


@pytest.mark.parametrize(
    "model_id", ["krea-v2/turbo", "bytedance/seedream/v5/flash/layerize", "runware:106@1"]
)
async def test_endpoints_path_is_followed(open_api, model_id):
    """The `endpoints` path of an entry answers, slashes unescaped or escaped."""
    async with open_api() as api:
        path = by_id(await api.get("/api/v1/images/models"), model_id)["endpoints"]
        assert (await api.get(path)).json["id"] == model_id
        escaped = "/api/v1/images/models/" + model_id.replace("/", "%2F") + "/endpoints"
        assert (await api.get(escaped)).json["id"] == model_id


async def test_unknown_endpoints(open_api):
    """The metadata of an unknown model is 404 `model_not_found`."""
    async with open_api() as api:
        reply = await api.get("/api/v1/images/models/a/b/endpoints")
        assert (reply.status, reply.code) == (404, "model_not_found")


async def test_every_model_draws(open_api):
    """Every listed model answers a request that its own listing allows."""
    reference = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA"
    async with open_api() as api:
        for model in built_in_models():
            fields = {"input_references": [reference]} if model.references_required else {}
            reply = await api.images(model=model.id, **fields)
            assert (model.id, reply.status) == (model.id, 200)


async def test_models_can_change(open_api):
    """`set_models` shows at once, although listings are written once and kept."""
    async with open_api() as api:
        await api.get("/api/v1/images/models")
        api.sandbox.set_models([SandboxModel(id="new", name="New", owner="me")])
        assert [entry["id"] for entry in (await api.get("/api/v1/images/models")).json["data"]] == ["new"]
        assert (await api.images(model="gpt-image-2")).status == 404


def test_built_in_catalogue_has_what_clients_must_bear():
    """The catalogue holds each oddity that listings are known to have."""
    models = built_in_models()
    assert 38 <= len(models) <= 50
    assert len({model.id for model in models}) == len(models)
    assert len({model.name for model in models}) < len(models)
    assert any(model.name.endswith(" ") for model in models)
    assert {1, 4} <= {model.fixed_image_count for model in models}
    assert any({"1:1", "1k"} <= set(model.resolutions) for model in models)
    assert any(model.images_min == 2 for model in models)
    assert any(model.images_max == 10 for model in models)
    assert any(not model.prices_usd for model in models)
    assert any(model.money_as_text for model in models)
    assert any(model.masks for model in models)
    assert {model.default_format for model in models} == {"png", "jpeg", "webp"}


@pytest.mark.parametrize("size", [10, 240, 10_000])
def test_catalog_of(size):
    """`catalog_of` makes exactly the number asked for, all different."""
    assert len({model.id for model in catalog_of(size)}) == size


def test_load_models(tmp_path):
    """Models come from a file; an unknown key is named with its entry."""
    path = tmp_path / "models.json"
    path.write_text('[{"id": "a", "name": "A", "owner": "o", "images_max": 3}]')
    assert load_models(path)[0].images_max == 3
    path.write_text('[{"id": "a", "name": "A", "owner": "o", "imagesMax": 3}]')
    with pytest.raises(ValueError, match=r"entry 1: unknown key 'imagesMax'"):
        load_models(path)
