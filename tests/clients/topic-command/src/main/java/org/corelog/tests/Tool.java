package org.corelog.tests;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/** Runs Kafka's own tools in this process, and named checks, one line of output each. */
final class Tool {
    private Tool() {}

    /** How a tool ended, and what it printed. */
    record Result(int code, String text) {}

    /** A tool's beginning. */
    interface Main {
        void main(String[] words) throws Exception;
    }

    /** Thrown where a tool would end the process. */
    private static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    static Result run(Main tool, String bootstrap, String... words) {
        List<String> all = new ArrayList<>(List.of("--bootstrap-server", bootstrap));
        all.addAll(List.of(words));
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream out = System.out;
        PrintStream err = System.err;
        PrintStream capture = new PrintStream(printed, true, StandardCharsets.UTF_8);
        // A tool takes the exception for a failure of its own and exits once more: the first code is the one.
        List<Integer> codes = new ArrayList<>();
        Exit.setExitProcedure((status, message) -> {
            codes.add(status);
            throw new Ended();
        });
        System.setOut(capture);
        System.setErr(capture);
        try {
            tool.main(all.toArray(new String[0]));
        } catch (Ended ended) {
            // As the process would have.
        } catch (Exception error) {
            codes.add(1);
            capture.println(error);
        } finally {
            System.setOut(out);
            System.setErr(err);
            Exit.resetExitProcedure();
        }
        return new Result(codes.isEmpty() ? 0 : codes.get(0), printed.toString(StandardCharsets.UTF_8));
    }

    static void check(String name, Runnable body) {
        try {
            body.run();
            System.out.println("ok " + name);
        } catch (RuntimeException | AssertionError error) {
            System.out.println("FAIL " + name + ": " + String.valueOf(error).replace('\n', ' '));
        }
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
