"""Each rule of Pyro 3 on docs/pyro3-rules.md is pinned by tests; RULES says by which, and the rest stand here."""

from __future__ import annotations

import ast
import functools
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gpyro_cli.main import cli

import gpyro
from gpyro.errors import DaemonError, RemoteProtocolError
from tests.support.programs import Program, make_environment
from tests.support.servers import Bench, fake_server, running_daemon
from tests.support.serving import FakeNameServer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "pyro3-rules.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (same|better|left out)\b(.*) \|$", re.MULTILINE)

#: For each rule the tests that pin what gpyro does, as `file: test test`; "integration/" is left out.
RULES = {
    1: """test_commands: test_bad_input_is_told_in_one_line_with_status_1
          test_wrong_words_end_with_status_2_and_usage test_absent_name_server_is_told_with_status_1
          test_second_ns_is_refused_with_status_1_and_the_first_lives_on
          test_ns_on_an_unknown_host_is_told test_ns_refuses_a_port_that_is_none
          test_echoserver_without_a_name_server_says_so
          test_es_commands: test_without_a_name_server_it_says_how_to_do_without""",
    2: """test_pyro3_rules: test_nsc_takes_the_host_with_its_short_option_and_refuses_what_it_does_not_know
          unit/cli/test_main: test_unknown_command_and_option_end_with_status_2
          test_servers_take_the_short_help_option_of_pyro""",
    3: "test_commands: test_bad_input_is_told_in_one_line_with_status_1",
    4: "test_commands: test_python_m_gpyro_naming_is_the_same_and_ends_on_ctrl_c test_meta_is_set_and_shown",
    5: """test_pyro3_rules: test_name_server_that_keeps_running_says_where_it_listens
          test_commands: test_ns_that_keeps_running_denies_shutdown""",
    6: """test_discovery_commands: test_name_server_for_this_machine_alone_hears_broadcasts_only_if_asked
          test_command_tells_where_it_hears_broadcasts_and_nsc_finds_it""",
    7: """test_discovery: test_places_are_tried_in_order_and_the_question_is_sent_again
          test_given_host_is_asked_and_nobody_else test_second_name_server_of_a_pair_is_found_by_its_broadcast
          test_name_server_that_denies_is_told_after_the_others_were_tried""",
    8: """unit/test_naming_persistent: test_names_are_there_again_also_on_another_port
          test_directory_is_relative_to_the_storage_or_absolute test_persistent_name_server_is_pyros
          unit/storage/conformance:
          test_wrong_name_raises_naming_error_with_pyros_text_and_full_name_and_changes_nothing""",
    9: """test_name_server_pairs: test_change_at_either_is_seen_at_both_at_once
          test_parted_servers_go_on_alone_and_agree_again test_nsc_shows_the_pair_and_has_it_compare_anew""",
    10: """test_es_commands: test_person_at_a_terminal_is_asked
           test_second_server_is_refused_and_the_first_one_stays
           test_default_port_is_the_first_free_one_of_the_range""",
    11: """test_commands: test_nsc_shutdown_ends_the_name_server_and_its_file_goes
           unit/test_naming: test_shutdown_is_refused_to_a_caller_elsewhere""",
    12: """test_bad_input: test_method_that_is_not_for_the_outside_does_not_exist
           test_exposure: test_what_is_no_public_method_cannot_be_called
           test_the_daemons_own_object_shows_what_it_means_to_and_nothing_else
           test_delegate_is_reached_in_place_of_the_object""",
    13: """test_pyro3_proxies: test_plain_proxy_has_every_public_name_as_a_method_and_keeps_what_is_assigned
           unit/test_proxy: test_what_a_proxy_cannot_do_is_an_error_of_python_and_never_connects
           test_looking_at_a_proxy_never_connects""",
    14: """test_pyro3_proxies: test_attribute_is_read_and_written_with_one_call_each
           test_missing_attribute_is_asked_for_anew_each_time_and_its_error_has_a_remote_traceback
           test_assigning_a_new_name_creates_it_at_the_object_and_a_method_is_no_attribute
           test_nested_values_of_attributes_are_copies
           test_delegate_shows_its_public_data_where_programs_of_pyro_3_run
           test_data_of_a_plain_object_needs_to_be_named_and_the_error_says_how
           test_exposure: test_what_is_no_public_data_cannot_be_read""",
    15: """test_pyro3_proxies: test_proxies_are_compared_by_the_id_of_the_object_whatever_their_kind
           test_copy_of_a_proxy_has_a_connection_of_its_own_and_all_controls
           test_what_a_proxy_was_told_stays_with_it_when_it_is_passed_on
           unit/test_proxy: test_copies_keep_kind_address_and_controls
           test_secret_shows_nowhere_and_travels_in_no_pickle
           test_proxy_for_an_object_without_an_address_is_not_pickled""",
    16: """test_pyro3_proxies: test_location_becomes_the_address_of_the_object_with_the_first_call
           test_location_is_looked_up_again_when_another_object_has_the_name""",
    17: """test_pyro3_proxies: test_address_is_not_looked_up_when_it_is_made_and_has_to_have_an_id
           unit/test_uri: test_missing_port_is_the_port_of_this_process
           test_equal_addresses_are_equal_hash_alike_and_equal_their_text""",
    18: """test_pyro3_proxies: test_remote_stacktrace_is_there_for_errors_of_the_users_code_and_none_for_gpyros
           test_tracing: test_error_that_comes_through_three_servers_has_the_traceback_of_each_once
           test_traceback_stays_here_where_somebody_from_elsewhere_has_not_proved_who_he_is
           unit/test_serializers_errors: test_traceback_of_many_hops_is_bounded_and_keeps_both_ends""",
    19: """test_pyro3_proxies:
           test_unknown_object_and_protocol_error_of_a_method_leave_the_connection_as_it_is
           test_class_that_the_server_does_not_know_is_refused_before_it_leaves""",
    20: """test_pyro3_proxies:
           test_unknown_object_and_protocol_error_of_a_method_leave_the_connection_as_it_is
           test_errors_travel: test_error_that_would_end_a_process_ends_neither_side""",
    21: """test_errors_travel: test_value_that_cannot_travel_names_class_path_and_way_out_on_either_side
           test_error_of_an_unknown_class_arrives_as_a_remote_error_that_names_it
           test_error_of_a_known_class_arrives_as_itself test_exception_that_is_returned_is_a_value
           test_no_caller_hangs: test_exception_of_any_kind_is_an_answer""",
    22: """unit/test_names: test_naming_error_carries_reason_and_full_name_for_programs
           unit/test_naming: test_taken_name_is_refused_and_keeps_its_address
           test_pyro3_proxies: test_name_that_is_taken_within_a_daemon_is_told_with_pyros_reason
           test_resolving_through_a_name_that_is_no_group_is_a_naming_error""",
    23: """test_callbacks: test_error_of_a_callback_goes_to_the_server_and_on_to_the_caller
           test_callbacks: test_error_of_a_callback_object_is_reported_where_it_runs_and_the_connection_stays""",
    24: """test_pyro3_proxies: test_oneway_methods_add_up_and_are_given_as_text_list_or_tuple
           test_oneway: test_errors_of_oneway_calls_are_not_heard_of_and_the_connection_goes_on
           test_no_caller_hangs: test_unknown_method_called_without_waiting_is_silent_but_logged""",
    25: """test_threads: test_proxy_is_used_by_several_threads_at_once_each_with_its_own_connection
           test_calls: test_proxy_is_shared_by_a_hundred_greenlets_over_one_connection""",
    26: """test_time_limits: test_timeout_of_a_proxy_ends_the_call_on_both_sides_and_keeps_the_connection
           test_pyro3_proxies:
           test_idle_connection_is_closed_after_the_daemons_timeout_and_opened_again_in_silence
           test_rebinding_gives_up_after_its_tries_and_says_so
           test_rebinding_waits_for_the_server_that_comes_back_at_its_place""",
    27: """test_shutdown: test_next_call_after_an_orderly_end_says_that_nobody_listens
           test_listener_is_closed_while_calls_still_run test_shutdown_true_takes_the_objects_out
           test_daemon_that_nobody_references_unregisters_and_ends
           test_pyro3_programs: test_ctrl_c_comes_out_of_the_loop_of_an_old_program_once_all_is_in_order
           test_pyro3_rules: test_new_caller_of_a_daemon_that_was_shut_down_does_not_hang""",
    28: """test_descriptors: test_more_connections_than_allowed_are_denied_as_too_busy
           test_validators: test_hosts_are_denied_with_pyros_four_reasons
           test_a_validator_with_a_bug_lets_nobody_in_and_is_logged""",
    29: """test_listening: test_ports_without_more_said_are_those_of_the_manual
           test_daemon_takes_the_next_free_port_of_the_range
           test_norange_with_port_0_takes_one_of_the_systems_choice
           test_norange_takes_exactly_this_port_or_says_that_it_is_in_use""",
    30: """test_pyro3_rules: test_object_under_two_names_leaves_neither_behind
           test_object_that_is_not_connected_says_so""",
    31: """test_pyro3_proxies: test_changed_identification_holds_for_the_next_call
           test_logins: test_server_that_does_not_authenticate_is_left_before_a_call_is_sent""",
    32: """test_pyro3_rules: test_callback_of_a_loop_is_never_called_with_nothing_and_not_skipped_beside_calls
           test_loops: test_others_without_a_callback_are_an_error
           test_server_sockets_are_a_short_list_that_select_takes""",
    33: """test_local_storage_and_reaping:
           test_each_connection_has_a_storage_of_its_own_that_setInitTLS_prepares_once
           test_pyro3_rules: test_what_a_validator_notes_on_a_connection_is_there_in_its_calls""",
    34: """test_local_storage_and_reaping: test_an_unused_object_without_a_name_is_reaped_and_told
           test_an_object_in_use_outlives_one_that_is_not""",
    35: "test_pyro3_rules: test_one_import_gives_all_that_programs_of_the_manual_use",
    36: """unit/test_configuration: test_file_in_current_directory_is_read
           test_environment_is_stronger_than_file_and_code_than_both test_old_pyro_conf_can_be_read_as_it_is
           test_pyro_conf_in_current_directory_is_not_read test_environment_gives_values_of_the_right_types
           test_wrong_line_is_named_with_file_number_and_text test_empty_variable_gives_nothing
           test_named_file_that_is_not_there_is_an_error
           test_process_settings_come_from_the_environment_and_import_never_fails""",
    37: """test_events: test_subjects_ignore_case_and_events_keep_the_publishers_spelling
           test_patterns_match_from_the_beginning_and_ignore_case
           test_subscriber_whose_subject_and_patterns_match_gets_an_event_once
           test_one_call_with_several_subjects_gives_events_of_one_time""",
    38: """test_events: test_unsubscribe_ends_the_exact_subject_first_and_then_the_pattern_of_that_text
           test_unsubscribing_an_unknown_object_is_an_error_and_an_unknown_subject_is_not
           test_nothing_is_subscribed_or_published_without_a_subject
           test_pattern_that_is_broken_or_catastrophic_is_an_error_at_the_subscriber
           test_subject_that_is_none_is_an_error_at_whoever_gave_it""",
    39: """test_event_policies: test_setting_es_blockqueue_decides_where_the_subscriber_says_nothing
           test_drop_new_keeps_the_first_events_and_tells_how_many_were_lost
           test_block_lets_only_the_publisher_wait_that_fills_the_queue_and_loses_nothing""",
    40: "test_events: test_abort_ends_listen_at_once_from_a_handler_and_from_another_thread",
    41: "test_events: test_subscriber_that_is_also_a_thread_works",
    42: """test_bad_input: test_stranger_is_told_in_its_own_language_and_logged test_silent_connection_is_cut_off
           test_pyro3_rules: test_server_of_pyro_3_is_told_from_gpyros""",
}  # fmt: skip


def pinned_by(rule: int) -> list[tuple[Path, str]]:
    """Return the files and names of the tests of a rule."""
    found = []
    path = Path()
    for word in RULES[rule].split():
        if word.endswith(":"):
            place = word.rstrip(":")
            path = ROOT / "tests" / f"{place if '/' in place else f'integration/{place}'}.py"
        else:
            found.append((path, word))
    return found


@functools.cache
def named_in(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


def test_page_has_each_of_the_42_rules_once_with_a_verdict_and_what_it_means() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert [int(number) for number, _, _, _ in rows] == list(range(1, 43)) == list(RULES)
    for number, _, verdict, text in rows:
        assert verdict == "same" or text.startswith(": "), f"rule {number} does not say how"
        assert verdict != "left out" or ";" in text, f"rule {number} does not say what to do instead"


def test_what_is_not_there_is_named_with_what_to_do_instead() -> None:
    text = PAGE.read_text().partition("## What is not there")[2]
    rows = re.findall(r"^\| (.+?) \| (left out|not there yet)(.*) \|$", text, re.MULTILINE)
    assert len(rows) == text.count("\n| ") - 1
    words = set(re.findall(r"\w+", " ".join(row[0] for row in rows)))
    assert {"Mobile", "Gnosis", "wxnsc", "nssvc", "essvc"} <= words


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_pinned_by_tests_that_exist(rule: int) -> None:
    tests = pinned_by(rule)
    assert tests
    assert [name for path, name in tests if name not in named_in(path)] == []


# -- commands


def nsc(*words: str) -> Result:
    return CliRunner().invoke(cli, ["nsc", *words])


def test_nsc_takes_the_host_with_its_short_option_and_refuses_what_it_does_not_know() -> None:
    assert (nsc("-h").exit_code, "Option '-h' requires an argument" in nsc("-h").stderr) == (2, True)
    assert "Note that -h is the host here, as in Pyro" in nsc("--help").stdout
    assert (nsc("-z", "ping").exit_code, "No such option" in nsc("-z", "ping").stderr) == (2, True)
    surplus = CliRunner().invoke(cli, ["ns", "foo"])
    assert (surplus.exit_code, "unexpected extra argument (foo)" in surplus.stderr) == (2, True)


def test_name_server_that_keeps_running_says_where_it_listens(tmp_path: Path) -> None:
    with Program(["-m", "gpyro", "ns", "-p", "0", "-k"], make_environment(tmp_path)) as program:
        program.read_until("Will ignore shutdown requests.")
        assert program.read_until("Name server listening on:").startswith("127.0.0.1 port ")
        program.read_until("Name Server started.")
        assert program.stop().status == 0


# -- daemons


def test_new_caller_of_a_daemon_that_was_shut_down_does_not_hang() -> None:
    with running_daemon() as server:
        uri = server.connect(Bench())
        server.daemon.shutdown()
        with pytest.raises(gpyro.errors.ProtocolError, match=r"^connection failed: "):
            server.proxy(uri).echo(1)


def test_object_under_two_names_leaves_neither_behind() -> None:
    names = FakeNameServer()
    with running_daemon() as server:
        server.daemon.useNameServer(names)
        bench = Bench()
        uri = server.connect(bench, name="first")
        assert server.connect(bench, name="second") == uri
        assert sorted(names.names) == ["first", "second"]
        for name in ("first", "second"):
            assert server.proxy(f"PYROLOC://127.0.0.1:{server.port}/{name}").echo(1) == 1
        server.daemon.disconnect(bench)
        assert names.names == {}
        with pytest.raises(KeyError, match=bench.GUID()):
            server.daemon.disconnect(bench)


def test_object_that_is_not_connected_says_so() -> None:
    bench = Bench()
    assert bench.getDaemon() is None
    for action in (bench.getProxy, bench.getAttrProxy, bench.getLocalStorage):
        with pytest.raises(DaemonError, match="'Bench' object is not connected to a daemon"):
            action()


def test_callback_of_a_loop_is_never_called_with_nothing_and_not_skipped_beside_calls() -> None:
    ours, theirs = socket.socketpair()
    ready: list[Any] = []
    with ours, theirs, gpyro.Daemon(port=0, norange=True) as daemon:
        daemon.handleRequests(0.01, [ours], ready.append)
        assert ready == []
        with socket.create_connection(("127.0.0.1", daemon.port)):
            theirs.send(b"x")
            daemon.handleRequests(5, [ours], ready.append)
            daemon.handleRequests(0, [ours], ready.append)
        assert ready and all(found == [ours] for found in ready)


def test_what_a_validator_notes_on_a_connection_is_there_in_its_calls() -> None:
    class Door(gpyro.auth.DefaultConnValidator):
        def acceptHost(self, daemon: Any, connection: Any) -> tuple[int, int]:
            connection.came_from = connection.addr[0]
            return 1, 0

    class Session(gpyro.ObjBase):
        def origin(self) -> Any:
            return self.getLocalStorage().caller.came_from

    with running_daemon() as server:
        server.daemon.setNewConnectionValidator(Door())
        assert server.proxy(Session()).origin() == "127.0.0.1"


# -- programs


def test_one_import_gives_all_that_programs_of_the_manual_use() -> None:
    program = """
import gpyro
used = [gpyro.naming.NameServerLocator, gpyro.eventserver.Publisher, gpyro.eventserver.Subscriber,
        gpyro.errors.PyroError, gpyro.util.getPyroTraceback, gpyro.log.UserLogger, gpyro.config.port,
        gpyro.ObjBase, gpyro.Daemon, gpyro.getProxyForURI, gpyro.getAttrProxyForURI, gpyro.PyroURI,
        gpyro.initServer, gpyro.initClient]
import gpyro.core
assert gpyro.core.PyroError is gpyro.errors.PyroError and gpyro.core.Daemon is gpyro.Daemon
"""
    words = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# -- the wire

#: Header and challenge with which a server of Pyro 3 begins. Source: transcript D2 of Pyro 3.16.
PYRO_3_SERVER = b"PYRO\x00\x05\x00\x12\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00" + bytes(16)


def test_server_of_pyro_3_is_told_from_gpyros() -> None:
    def speak_first(sock: Any) -> None:
        sock.sendall(PYRO_3_SERVER)
        while sock.recv(4096):
            pass

    with fake_server(speak_first) as port:
        proxy: Any = gpyro.Proxy(f"PYRO://127.0.0.1:{port}/abc")
        with pytest.raises(RemoteProtocolError, match=r"does not speak gpyro's protocol"):
            proxy.echo(1)
