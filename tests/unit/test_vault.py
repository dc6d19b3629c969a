"""The vault: a card is decrypted only unaltered, for its own payment and with its own key."""

import base64
import multiprocessing
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from remit.adapters.files import vault as vault_module
from remit.adapters.files.signer import FileSigner
from remit.adapters.files.vault import FileVault, VaultError
from remit.domain.errors import CardUnreadable
from tests.builders import GOOD_CARD, plain_card

CARD = plain_card()


@pytest.fixture
def vault(tmp_path: Path) -> FileVault:
    return FileVault(tmp_path / "vault.key")


async def test_an_encrypted_card_is_decrypted(vault: FileVault) -> None:
    assert await vault.decrypt(await vault.encrypt(CARD, "p1"), "p1") == CARD


async def test_the_ciphertext_shows_no_part_of_the_card(vault: FileVault) -> None:
    encrypted = await vault.encrypt(CARD, "p1")
    for ciphertext in (encrypted.encode(), base64.b64decode(encrypted)):
        assert GOOD_CARD.encode() not in ciphertext
        assert b"visa" not in ciphertext


async def test_the_same_card_has_another_ciphertext_each_time(vault: FileVault) -> None:
    assert len({await vault.encrypt(CARD, "p1") for _ in range(50)}) == 50


async def test_a_card_is_not_decrypted_for_another_payment(vault: FileVault) -> None:
    encrypted = await vault.encrypt(CARD, "p1")
    for context in ("p2", "", "p11", "P1"):
        with pytest.raises(CardUnreadable) as rejected:
            await vault.decrypt(encrypted, context)
        assert GOOD_CARD not in rejected.value.message


async def test_another_key_file_does_not_decrypt_a_card(vault: FileVault, tmp_path: Path) -> None:
    encrypted = await vault.encrypt(CARD, "p1")
    with pytest.raises(CardUnreadable):
        await FileVault(tmp_path / "other.key").decrypt(encrypted, "p1")


async def test_the_same_key_file_decrypts_a_card_later(vault: FileVault, tmp_path: Path) -> None:
    encrypted = await vault.encrypt(CARD, "p1")
    later = FileVault(tmp_path / "vault.key")
    assert await later.decrypt(encrypted, "p1") == CARD
    assert await vault.decrypt(await later.encrypt(CARD, "p2"), "p2") == CARD


async def test_every_altered_byte_is_noticed(vault: FileVault) -> None:
    encrypted = base64.b64decode(await vault.encrypt(CARD, "p1"))
    for position in range(len(encrypted)):
        altered = bytearray(encrypted)
        altered[position] ^= 1
        with pytest.raises(CardUnreadable):
            await vault.decrypt(base64.b64encode(altered).decode(), "p1")


async def test_text_that_is_no_whole_ciphertext_is_rejected(vault: FileVault) -> None:
    encrypted = await vault.encrypt(CARD, "p1")
    for broken in (
        "",
        "x",
        "not base64!",
        "é",
        encrypted[:-8],
        encrypted[4:],
        encrypted + encrypted,
    ):
        with pytest.raises(CardUnreadable):
            await vault.decrypt(broken, "p1")


async def test_a_card_forged_under_a_key_of_zeros_is_not_decrypted(vault: FileVault) -> None:
    nonce = bytes(12)
    ciphertext = AESGCM(bytes(32)).encrypt(nonce, msgspec.json.encode(CARD), b"p1")
    for wrapped_key in (b"", bytes(12), bytes(60)):
        forged = {"wrapped_key": wrapped_key, "nonce": nonce, "ciphertext": ciphertext}
        with pytest.raises(CardUnreadable):
            await vault.decrypt(base64.b64encode(msgspec.msgpack.encode(forged)).decode(), "p1")


def data_key_of(encrypted: str) -> bytes:
    decoded: dict[str, bytes] = msgspec.msgpack.decode(base64.b64decode(encrypted))
    return decoded["wrapped_key"]


async def test_a_data_key_is_replaced_before_it_is_used_too_often(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vault_module, "CARDS_PER_DATA_KEY", 3)
    vault = FileVault(tmp_path / "vault.key")
    encrypted = [await vault.encrypt(CARD, f"p{number}") for number in range(7)]
    data_keys = [data_key_of(ciphertext) for ciphertext in encrypted]
    assert data_keys == [data_keys[0]] * 3 + [data_keys[3]] * 3 + [data_keys[6]]
    assert len(set(data_keys)) == 3
    for number, ciphertext in enumerate(encrypted):
        assert await vault.decrypt(ciphertext, f"p{number}") == CARD


async def test_vaults_of_one_key_file_use_data_keys_of_their_own(tmp_path: Path) -> None:
    first, second = (FileVault(tmp_path / "vault.key") for _ in range(2))
    assert data_key_of(await first.encrypt(CARD, "p1")) != data_key_of(
        await second.encrypt(CARD, "p1")
    )


def test_a_fingerprint_is_equal_for_equal_data_under_one_key_only(tmp_path: Path) -> None:
    vault, again = (FileVault(tmp_path / "vault.key") for _ in range(2))
    other = FileVault(tmp_path / "other.key")
    assert vault.fingerprint(b"order") == again.fingerprint(b"order")
    assert vault.fingerprint(b"order") != vault.fingerprint(b"order2")
    assert vault.fingerprint(b"order") != other.fingerprint(b"order")
    assert len(vault.fingerprint(b"")) == 64


def test_the_key_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    FileVault(tmp_path / "vault.key")
    made = tmp_path / "vault.key"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert len(made.read_bytes()) == 32
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620, 0o601])
def test_a_key_file_that_others_can_read_or_change_is_rejected(tmp_path: Path, mode: int) -> None:
    FileVault(tmp_path / "vault.key")
    (tmp_path / "vault.key").chmod(mode)
    with pytest.raises(VaultError, match=r"chmod 600 .*vault\.key"):
        FileVault(tmp_path / "vault.key")


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)], ids=["empty", "short", "long"])
def test_a_key_file_of_another_size_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vault.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(VaultError, match="exactly 32 bytes"):
        FileVault(path)
    assert path.read_bytes() == content


def fingerprint_of(path: Path) -> str:
    return FileVault(path).fingerprint(b"same")


def test_a_process_that_makes_the_key_second_uses_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fingerprint_of(tmp_path / "vault.key")
    # Neither process found a key file before the other made one.
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert fingerprint_of(tmp_path / "vault.key") == first


def test_processes_that_make_the_key_at_once_share_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for number in range(5):
            path = tmp_path / f"vault-{number}.key"
            prints = pool.map(fingerprint_of, [path] * 4, chunksize=1)
            assert set(prints) == {fingerprint_of(path)}
    assert len(list(tmp_path.iterdir())) == 5


def test_threads_that_make_the_key_at_once_share_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            path, start = tmp_path / f"vault-{number}.key", Barrier(8)

            def make(path: Path = path, start: Barrier = start) -> str:
                start.wait(10)
                return fingerprint_of(path)

            made = [threads.submit(make) for _ in range(8)]
            assert {one.result(10) for one in made} == {fingerprint_of(path)}
    assert len(list(tmp_path.iterdir())) == 20


async def test_a_signature_is_of_one_message_and_one_key_file(tmp_path: Path) -> None:
    signer, again = (FileSigner(tmp_path / "audit.key") for _ in range(2))
    other = FileSigner(tmp_path / "other.key")
    signature = await signer.sign(b"head 7")
    assert await again.is_valid(b"head 7", signature)
    for message, by, checked in (
        (b"head 8", signature, signer),
        (b"head 7", signature, other),
        (b"head 7", signature[:-1] + bytes([signature[-1] ^ 1]), signer),
        (b"head 7", b"", signer),
    ):
        assert not await checked.is_valid(message, by)
    assert stat.S_IMODE((tmp_path / "audit.key").stat().st_mode) == 0o600
